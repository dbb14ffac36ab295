/* See mapped.h. The handler of SIGBUS jumps back into nt_mapped_copy where it was this thread that touched
 * the page, and hands every other SIGBUS to whoever had the signal before. The signal is raised by the access
 * itself, so the jump leaves no lock taken and no call half done. The alternative, a pread for each row,
 * needs no handler, but for images of a few kilobytes the calls take as long as the copies. */
#include "datasets/mapped.h"

#include "datasets/dataset.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local sigjmp_buf *volatile way_back; /* NULL: this thread copies nothing */
static struct sigaction before;

static void on_bus_error(int signal)
{
    if (way_back) siglongjmp(*way_back, 1);
    (void)sigaction(signal, &before, NULL); /* and the access is tried again */
}

/* At every opening: somebody may have taken the signal since the last. */
static void install_handler(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct sigaction now, action = {.sa_handler = on_bus_error};
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler != on_bus_error) {
        before = now;
        (void)sigaction(SIGBUS, &action, NULL); /* cannot fail with these arguments */
    }
    pthread_mutex_unlock(&lock);
}

bool nt_mapped_open(nt_mapped *m, int fd, int64_t offset, int64_t n_bytes)
{
    const int64_t lead = offset % sysconf(_SC_PAGESIZE);
    const size_t size = (size_t)(lead + n_bytes);
    *m = (nt_mapped){.fd = fd, .end_in_file = offset + n_bytes};
    char *base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)(offset - lead));
    if (base == MAP_FAILED) return false;
    install_handler();
    m->base = base;
    m->n_bytes = size;
    m->part = base + lead;
    return true;
}

void nt_mapped_close(nt_mapped *m)
{
    if (m->base) (void)munmap(m->base, m->n_bytes);
    *m = (nt_mapped){0};
}

void nt_mapped_want(const nt_mapped *m, const char *from, size_t n_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), at = (size_t)(from - m->base),
                 begin = at / page * page;
    (void)madvise(m->base + begin, at + n_bytes - begin, MADV_WILLNEED);
}

bool nt_mapped_is_whole(const nt_mapped *m)
{
    struct stat now;
    return fstat(m->fd, &now) == 0 && (int64_t)now.st_size >= m->end_in_file;
}

bool nt_mapped_copy(void *dst, const char *const *from, int64_t n, size_t row_bytes)
{
    sigjmp_buf here;
    if (sigsetjmp(here, 1)) { /* with the mask: the signal is blocked while it is handled */
        way_back = NULL;
        return false;
    }
    way_back = &here;
    nt_rows_copy(dst, from, n, row_bytes);
    way_back = NULL;
    return true;
}

int64_t nt_mapped_waits(void)
{
    struct rusage use;
    return getrusage(RUSAGE_THREAD, &use) == 0 ? (int64_t)use.ru_majflt : 0;
}
