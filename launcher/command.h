/* A command: one file cmd_<name>.c with a const nt_command, and one line in the list of command.c. */
#ifndef NT_LAUNCHER_COMMAND_H
#define NT_LAUNCHER_COMMAND_H

#include "launcher/args.h"
#include "launcher/session.h"

typedef struct nt_command {
    const char *name;
    const char *usage; /* "nntrain check cfg.ini [section.key=value ...]" */
    const char *help;  /* one line */
    /* argv[0] is the command's name. The session is empty; the command opens what it needs, main ends it. */
    NT_MUST nt_status (*run)(nt_session *session, int argc, char **argv);
} nt_command;

/* NULL-terminated, in the order of help. */
extern const nt_command *const nt_commands[];

/* NULL if there is none. */
const nt_command *nt_command_find(const char *name);

/* Finds and runs the command of a whole command line; a config file instead of a command's name trains. */
NT_MUST nt_status nt_command_main(nt_session *session, int argc, char **argv);

#endif
