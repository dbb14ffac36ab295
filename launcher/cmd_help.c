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
    printf("\nmore help:\n"
           "  nntrain help config           all sections and keys of the config file\n"
           "  nntrain help layers           all layer types and losses\n"
           "  nntrain help NAME             a command, section, key, layer, loss or import format:\n"
           "                                nntrain help optimizer; nntrain help lr_per; nntrain help csv\n"
           "\nexit codes:\n"
           "   0  done                      74  I/O error\n"
           "   2  usage                     75  stopped by a signal after a checkpoint\n"
           "  65  bad data                  78  bad config\n"
           "  66  no input                  80  NaN or Inf\n"
           "  69  no device, MPI, memory    81  replicas differ\n"
           "  70  bug                       82  no progress\n"
           "  73  cannot create output      83  no usable checkpoint\n");
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

static void print_importer(const nt_importer *importer)
{
    printf("nntrain import %s %s OUT.h5\n  %s\n", importer->name, importer->usage, importer->help);
}

static void print_command(const nt_command *command)
{
    printf("%s\n  %s\n", command->usage, command->help);
    if (strcmp(command->name, "import") != 0) return;
    for (int i = 0; nt_importers()[i]; i++) {
        printf("\n");
        print_importer(nt_importers()[i]);
    }
}

/* --- one name, which may be that of several things --- */

/* Calls visit for every section: the fixed ones, what all layers have, each layer type. Returns the sum. */
static int for_each_section(int (*visit)(const nt_section *section, void *arg), void *arg)
{
    int sum = visit(&nt_layer_section, arg);
    for (int i = 0; nt_all_sections[i]; i++)
        sum += visit(nt_all_sections[i], arg);
    for (int i = 0; nt_layer_types()[i]; i++)
        sum += visit(&nt_layer_find(nt_layer_types()[i])->section, arg);
    return sum;
}

static int print_if_named(const nt_section *section, void *topic)
{
    if (strcmp(section->name, topic) != 0) return 0;
    nt_section_print_help(section, stdout);
    return 1;
}

/* Choices that say nothing by themselves. */
static bool is_common_word(const char *word)
{
    static const char *const words[] = {"auto", "none", "yes", "no", NULL};
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0) return true;
    return false;
}

/* `lr` or `optimizer.lr`, or a word that it may have */
static bool is_key(const nt_section *section, const nt_option *option, const char *topic)
{
    size_t n = strlen(section->name);
    if (strncmp(topic, section->name, n) == 0 && topic[n] == '.') topic += n + 1;
    if (strcmp(option->key, topic) == 0) return true;
    for (int i = 0; option->choices && option->choices[i]; i++) /* `relu`, `cosine` */
        if (strcmp(option->choices[i], topic) == 0 && !is_common_word(topic)) return true;
    return false;
}

static int print_keys(const nt_section *section, void *topic)
{
    int n = 0;
    for (int i = 0; i < section->n_options; i++) {
        if (!is_key(section, &section->options[i], topic)) continue;
        if (n++ == 0) printf("[%s]\n", section->name);
        nt_option_print_help(&section->options[i], stdout);
    }
    return n;
}

static int print_all_named(char *topic)
{
    const nt_importer *importer = nt_importer_find(topic);
    const nt_layer_ops *loss = nt_loss_find(topic);
    int n = for_each_section(print_if_named, topic) + for_each_section(print_keys, topic);
    if (loss) nt_section_print_help(&loss->section, stdout);
    if (importer) print_importer(importer);
    return n + (loss != NULL) + (importer != NULL);
}

/* --- the nearest name --- */

typedef struct names {
    const char *name[1024]; /* the first n of them, and NULL */
    int n;                  /* also of those that do not fit */
} names;

static void add_name(names *all, const char *name)
{
    if (all->n + 1 < NT_N_ELEMS(all->name)) all->name[all->n] = name;
    all->n++;
}

static int add_section(const nt_section *section, void *arg)
{
    add_name(arg, section->name);
    for (int i = 0; i < section->n_options; i++)
        add_name(arg, section->options[i].key);
    for (int i = 0; i < section->n_options; i++)
        for (int k = 0; section->options[i].choices && section->options[i].choices[k]; k++)
            if (!is_common_word(section->options[i].choices[k]))
                add_name(arg, section->options[i].choices[k]);
    return 0;
}

static nt_status fail_unknown(const char *topic)
{
    names all = {.n = 0};
    for (int i = 0; nt_commands[i]; i++)
        add_name(&all, nt_commands[i]->name);
    (void)for_each_section(add_section, &all);
    for (int i = 0; nt_loss_types()[i]; i++)
        add_name(&all, nt_loss_types()[i]);
    for (int i = 0; nt_importers()[i]; i++)
        add_name(&all, nt_importers()[i]->name);
    NT_BUG_UNLESS(all.n < NT_N_ELEMS(all.name), "there are %d names, more than names.name holds", all.n);
    const char *nearest = nt_text_nearest(topic, all.name);
    NT_FAIL(NT_ERR_USAGE, "there is no help on '%s'%s%s%s nntrain help", topic,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'? See" : "; see");
}

static nt_status help_run(nt_session *session, int argc, char **argv)
{
    (void)session;
    char *topic = argc > 1 ? argv[1] : NULL;
    NT_CHECK(argc <= 2, NT_ERR_USAGE, "usage: nntrain help [config|layers|NAME]");
    const nt_command *command = topic ? nt_command_find(topic) : NULL;
    if (!topic)
        print_overview();
    else if (strcmp(topic, "config") == 0)
        print_config();
    else if (strcmp(topic, "layers") == 0)
        print_layers();
    else if (command)
        print_command(command);
    else if (print_all_named(topic) == 0)
        NT_TRY(fail_unknown(topic));
    return NT_OK;
}

const nt_command nt_cmd_help = {
    .name = "help",
    .usage = "nntrain help [config|layers|NAME]",
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
