/* The list of commands, and the choice of one. */
#include "launcher/command.h"

#include "core/text.h"

#include <string.h>
#include <unistd.h>

extern const nt_command nt_cmd_train, nt_cmd_check, nt_cmd_eval, nt_cmd_predict, nt_cmd_import,
    nt_cmd_inspect, nt_cmd_export, nt_cmd_report, nt_cmd_bench, nt_cmd_help, nt_cmd_version;

const nt_command *const nt_commands[] = {&nt_cmd_train,  &nt_cmd_check,   &nt_cmd_eval,    &nt_cmd_predict,
                                         &nt_cmd_import, &nt_cmd_inspect, &nt_cmd_export,  &nt_cmd_report,
                                         &nt_cmd_bench,  &nt_cmd_help,    &nt_cmd_version, NULL};

#define N_COMMANDS ((int)(sizeof nt_commands / sizeof *nt_commands) - 1)

const nt_command *nt_command_find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(nt_commands[i]->name, name) == 0) return nt_commands[i];
    return NULL;
}

/* The word is neither a command nor a file: says which command was meant. */
static nt_status fail_unknown(const char *word)
{
    const char *names[N_COMMANDS + 1];
    for (int i = 0; i <= N_COMMANDS; i++)
        names[i] = i < N_COMMANDS ? nt_commands[i]->name : NULL;
    const char *nearest = nt_text_nearest(word, names);
    NT_FAIL(NT_ERR_USAGE, "there is no command and no config file '%s'%s%s%s nntrain help", word,
            nearest ? ": did you mean '" : "", nearest ? nearest : "", nearest ? "'? See" : "; see");
}

/* Whether a word looks like the path of a file, there or not. */
static bool looks_like_file(const char *word)
{
    size_t n = strlen(word);
    return strchr(word, '/') || (n > 4 && strcmp(word + n - 4, ".ini") == 0) || access(word, F_OK) == 0;
}

static bool is_help_flag(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Anywhere among the words that can be flags. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help_flag(argv[i])) return true;
    return false;
}

/* `nntrain COMMAND ... --help` */
static nt_status help_for(nt_session *session, const nt_command *command)
{
    char *words[] = {(char *)nt_cmd_help.name, (char *)command->name, NULL};
    return nt_cmd_help.run(session, 2, words);
}

nt_status nt_command_main(nt_session *session, int argc, char **argv)
{
    NT_CHECK(argc > 1 && *argv[1], NT_ERR_USAGE,
             "usage: nntrain [COMMAND] cfg.ini [section.key=value ...]; see nntrain help");
    const char *word = argv[1];
    if (is_help_flag(word)) word = "help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) word = "version";
    const nt_command *command = nt_command_find(word);
    if (!command && word[0] != '-' && !looks_like_file(word)) return fail_unknown(word);
    if (asks_for_help(argc, argv)) return help_for(session, command ? command : &nt_cmd_train);
    if (!command) return nt_cmd_train.run(session, argc, argv); /* argv[0] stands for the command */
    return command->run(session, argc - 1, argv + 1);
}
