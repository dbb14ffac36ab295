#include "core/fault.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    bool read, armed;
    char point[64], kind[16];
    int rank, wanted_rank, hit;
    int64_t step, wanted_step;
} fault = {.wanted_rank = -1, .wanted_step = -1, .hit = 1};

void nt_fault_set_rank(int rank)
{
    fault.rank = rank;
}

void nt_fault_set_step(int64_t step)
{
    fault.step = step;
}

/* Takes one "key=value" of the variable. */
static void take_field(char *field)
{
    char *value = strchr(field, '=');
    if (!value) return;
    *value++ = '\0';
    if (strcmp(field, "point") == 0) snprintf(fault.point, sizeof fault.point, "%s", value);
    if (strcmp(field, "kind") == 0) snprintf(fault.kind, sizeof fault.kind, "%s", value);
    if (strcmp(field, "rank") == 0) fault.wanted_rank = atoi(value);
    if (strcmp(field, "step") == 0) fault.wanted_step = atoll(value);
    if (strcmp(field, "hit") == 0) fault.hit = atoi(value);
}

static void read_environment(void)
{
    fault.read = true;
    const char *text = getenv("NNTRAIN_FAULT");
    if (!text) return;
    char copy[256], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *field = strtok_r(copy, ",", &rest); field; field = strtok_r(NULL, ",", &rest))
        take_field(field);
    fault.armed = fault.point[0] != '\0';
}

static nt_fault_kind act(void)
{
    dprintf(STDERR_FILENO, "fault point %s, rank %d: %s\n", fault.point, fault.rank, fault.kind);
    if (strcmp(fault.kind, "kill") == 0) raise(SIGKILL);
    if (strcmp(fault.kind, "segv") == 0) raise(SIGSEGV);
    if (strcmp(fault.kind, "abort") == 0) raise(SIGABRT);
    if (strcmp(fault.kind, "stop") == 0) raise(SIGSTOP);
    if (strcmp(fault.kind, "exit0") == 0) _Exit(0);
    while (strcmp(fault.kind, "hang") == 0)
        usleep(100000);
    return strcmp(fault.kind, "nan") == 0 ? NT_FAULT_NAN : NT_FAULT_ERROR;
}

bool nt_fault_wanted(void)
{
    if (!fault.read) read_environment();
    return fault.point[0] != '\0';
}

nt_fault_kind nt_fault_point(const char *name)
{
    if (!nt_fault_wanted() || !fault.armed || strcmp(name, fault.point) != 0) return NT_FAULT_NONE;
    if (fault.wanted_rank >= 0 && fault.wanted_rank != fault.rank) return NT_FAULT_NONE;
    if (fault.wanted_step >= 0 && fault.wanted_step != fault.step) return NT_FAULT_NONE;
    if (--fault.hit > 0) return NT_FAULT_NONE;
    fault.armed = false;
    return act();
}
