/* The emulated NVTX: ranges and marks, written down for tests.
 *
 * With NT_EMU_NVTX=FILE in the environment ("%p" in it is the process's number) every call is one line of
 * FILE:
 *
 *   <ns> <thread> push|pop|start|end|mark|name [<domain>] <depth or id> <text>
 *
 * written by one write() in append mode, so that threads do not mix and a killed process leaves all it did. A
 * pop without a push is complained about: the original shows nonsense. A test double. */
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/include/nvtx3/nvToolsExt.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_DOMAINS 16
#define NAME_BYTES  64

struct nvtxDomainRegistration_st {
    char name[NAME_BYTES];
};

static struct nvtxDomainRegistration_st domains[MAX_DOMAINS]; /* the first is the one without a name */
static atomic_int n_domains = 1;
static _Thread_local int depths[MAX_DOMAINS];
static atomic_uint_fast64_t last_id;
static int file = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* --- the file --- */

static void open_file(void)
{
    char path[4096];
    const char *name = getenv("NT_EMU_NVTX"), *mark = name ? strstr(name, "%p") : NULL;
    if (!name || !name[0]) return;
    if (mark)
        snprintf(path, sizeof path, "%.*s%d%s", (int)(mark - name), name, (int)getpid(), mark + 2);
    else
        snprintf(path, sizeof path, "%s", name);
    file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) nt_emu_complain("NVTX: cannot open %s (NT_EMU_NVTX)", path);
}

static void record(const char *what, nvtxDomainHandle_t domain, unsigned long long number, const char *text)
{
    char line[512];
    struct timespec now;
    (void)pthread_once(&once, open_file);
    if (file < 0) return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int n = snprintf(line, sizeof line - 1, "%lld %d %s [%s] %llu %s",
                     (long long)now.tv_sec * 1000000000 + now.tv_nsec, (int)gettid(), what,
                     domain ? domain->name : "", number, text ? text : "");
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    for (int i = 0; i < n; i++)
        if (line[i] == '\n') line[i] = ' ';
    line[n] = '\n';
    if (write(file, line, (size_t)n + 1) != n + 1) nt_emu_complain("NVTX: cannot write (NT_EMU_NVTX)");
}

static const char *text_of(const nvtxEventAttributes_t *attributes)
{
    if (!attributes || attributes->version == 0 || attributes->size < sizeof *attributes) {
        nt_emu_complain("NVTX: event attributes without version and size");
        return "";
    }
    return attributes->messageType == NVTX_MESSAGE_TYPE_ASCII ? attributes->message.ascii : "";
}

/* --- domains --- */

static int index_of(nvtxDomainHandle_t domain)
{
    return domain ? (int)(domain - domains) : 0;
}

nvtxDomainHandle_t nvtxDomainCreateA(const char *name)
{
    int i = atomic_fetch_add(&n_domains, 1);
    if (i >= MAX_DOMAINS) {
        nt_emu_complain("NVTX: more than %d domains", MAX_DOMAINS - 1);
        return NULL;
    }
    snprintf(domains[i].name, sizeof domains[i].name, "%s", name ? name : "");
    return &domains[i];
}

void nvtxDomainDestroy(nvtxDomainHandle_t domain)
{
    if (domain && depths[index_of(domain)] > 0)
        nt_emu_complain("NVTX: domain %s is destroyed inside %d ranges", domain->name,
                        depths[index_of(domain)]);
}

/* --- ranges --- */

static int push(nvtxDomainHandle_t domain, const char *text)
{
    int depth = depths[index_of(domain)]++;
    record("push", domain, (unsigned long long)depth, text);
    return depth;
}

int nvtxDomainRangePushEx(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *attributes)
{
    return push(domain, text_of(attributes));
}

int nvtxDomainRangePop(nvtxDomainHandle_t domain)
{
    int *depth = &depths[index_of(domain)];
    if (*depth == 0) {
        nt_emu_complain("NVTX: a range is ended that was not begun (domain \"%s\")",
                        domain ? domain->name : "");
        return NVTX_NO_PUSH_POP_TRACKING;
    }
    record("pop", domain, (unsigned long long)--*depth, NULL);
    return *depth;
}

void nvtxDomainMarkEx(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *attributes)
{
    record("mark", domain, 0, text_of(attributes));
}

nvtxRangeId_t nvtxDomainRangeStartEx(nvtxDomainHandle_t domain, const nvtxEventAttributes_t *attributes)
{
    nvtxRangeId_t id = atomic_fetch_add(&last_id, 1) + 1;
    record("start", domain, id, text_of(attributes));
    return id;
}

void nvtxDomainRangeEnd(nvtxDomainHandle_t domain, nvtxRangeId_t id)
{
    record("end", domain, id, NULL);
}

int nvtxRangePushEx(const nvtxEventAttributes_t *attributes)
{
    return push(NULL, text_of(attributes));
}

int nvtxRangePushA(const char *message)
{
    return push(NULL, message);
}

int nvtxRangePop(void)
{
    return nvtxDomainRangePop(NULL);
}

nvtxRangeId_t nvtxRangeStartA(const char *message)
{
    nvtxRangeId_t id = atomic_fetch_add(&last_id, 1) + 1;
    record("start", NULL, id, message);
    return id;
}

void nvtxRangeEnd(nvtxRangeId_t id)
{
    record("end", NULL, id, NULL);
}

void nvtxMarkA(const char *message)
{
    record("mark", NULL, 0, message);
}

void nvtxNameOsThreadA(uint32_t thread, const char *name)
{
    record("name", NULL, thread, name);
}
