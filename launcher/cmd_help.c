/* nntrain help and nntrain version. */
#include "launcher/command.h"

#include "core/h5.h"
#include "core/text.h"
#include "core/version.h"
#include "datasets/import.h"

#include <stdio.h>
#include <string.h>

static void print_overview(void)
{
    printf("nntrain %s: distributed data-parallel training of neural networks\n\n", NNTRAIN_VERSION);
    printf("  mpirun -np N nntrain cfg.ini [section.key=value ...]\n\ncommands:\n");
    for (int i = 0; nt_commands[i]; i++)
        printf("  %-9s %s\n", nt_commands[i]->name, nt_commands[i]->help);
    printf("\nhelp on: config (all sections and keys), layers (all layer types and losses), or a command\n"
           "exit codes: 0 done, 2 usage, 65 bad data, 66 no input, 69 device or MPI unavailable, 70 bug, 73 "
           "cannot\n"
           "  create output, 74 I/O error, 75 stopped by a signal after a checkpoint, 78 bad config, 80 NaN, "
           "81\n"
           "  replicas differ, 82 no progress, 83 checkpoint corrupt\n");
}

static void print_config(void)
{
    printf("An INI file. `#` and `;` begin a comment. section.key=value on the command line overrides the "
           "file.\n\n");
    for (int i = 0; nt_all_sections[i]; i++) {
        nt_section_print_help(nt_all_sections[i], stdout);
        printf("\n");
    }
    printf("[layer NAME]: the layers, in order: nntrain help layers\n");
}

static void print_layers(void)
{
    printf("[layer NAME] sections, in order. Every layer has these keys:\n\n");
    nt_section_print_help(&nt_layer_section, stdout);
    for (int i = 0; nt_layer_types()[i]; i++) {
        printf("\n");
        nt_section_print_help(&nt_layer_find(nt_layer_types()[i])->section, stdout);
    }
    printf("\nlosses, as [loss] type = ...:\n");
    for (int i = 0; nt_loss_types()[i]; i++) {
        printf("\n");
        nt_section_print_help(&nt_loss_find(nt_loss_types()[i])->section, stdout);
    }
}

static void print_command(const nt_command *command)
{
    printf("%s\n  %s\n", command->usage, command->help);
    if (strcmp(command->name, "import") != 0) return;
    for (int i = 0; nt_importers()[i]; i++)
        printf("\nnntrain import %s %s\n  %s\n", nt_importers()[i]->name, nt_importers()[i]->usage,
               nt_importers()[i]->help);
}

static nt_status help_run(nt_session *session, int argc, char **argv)
{
    (void)session;
    const char *topic = argc > 1 ? argv[1] : "";
    const nt_command *command = nt_command_find(topic);
    const nt_layer_ops *layer = nt_layer_find(topic) ? nt_layer_find(topic) : nt_loss_find(topic);
    NT_CHECK(argc <= 2, NT_ERR_USAGE, "usage: nntrain help [config|layers|COMMAND|LAYER|LOSS]");
    if (argc < 2)
        print_overview();
    else if (strcmp(topic, "config") == 0)
        print_config();
    else if (strcmp(topic, "layers") == 0)
        print_layers();
    else if (command)
        print_command(command);
    else if (layer)
        nt_section_print_help(&layer->section, stdout);
    else
        NT_FAIL(NT_ERR_USAGE, "there is no help on '%s'; try config, layers, or a command", topic);
    return NT_OK;
}

const nt_command nt_cmd_help = {
    .name = "help",
    .usage = "nntrain help [config|layers|COMMAND|LAYER]",
    .help = "this text, or help on a topic",
    .run = help_run,
};

static nt_status version_run(nt_session *session, int argc, char **argv)
{
    (void)session, (void)argc, (void)argv;
    printf("nntrain %s\noneDNN %s\n%s\nHDF5 %s\nzlib %s\nxxhash %s\nCUDA %s\n", NNTRAIN_VERSION,
           nt_onednn_version(), nt_comm_version(), nt_h5_version(), nt_zlib_version(), nt_xxhash_version(),
           nt_cuda_version());
    return NT_OK;
}

const nt_command nt_cmd_version = {
    .name = "version",
    .usage = "nntrain --version",
    .help = "version of the program and of its libraries",
    .run = version_run,
};
