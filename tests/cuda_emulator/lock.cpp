/* Futex locks and condition variables; see lock.h. The lock is the third one of Drepper, "Futexes are
 * tricky". */
#include "tests/cuda_emulator/lock.h"

#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef NT_EMU_TSAN
extern "C" {
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}
#endif

namespace emu {

static void overlook(bool on)
{
#ifdef NT_EMU_TSAN
    (on ? AnnotateIgnoreReadsBegin : AnnotateIgnoreReadsEnd)(__FILE__, __LINE__);
    (on ? AnnotateIgnoreWritesBegin : AnnotateIgnoreWritesEnd)(__FILE__, __LINE__);
#else
    (void)on;
#endif
}

static void futex_wait(int *word, int expected, const timespec *timeout)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout, nullptr, 0);
}

static void futex_wake(int *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, nullptr, nullptr, 0);
}

void Lock::take()
{
    overlook(true);
    int was = 0;
    if (__atomic_compare_exchange_n(&word, &was, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    if (was != 2) was = __atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE);
    while (was != 0) {
        futex_wait(&word, 2, nullptr);
        was = __atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE);
    }
}

void Lock::give()
{
    if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2) futex_wake(&word, 1);
    overlook(false);
}

void Cond::wait(Lock &lock, int64_t timeout_ns)
{
    const int seen = sequence;
    sleepers++;
    lock.give();
    if (timeout_ns < 0) {
        futex_wait(&sequence, seen, nullptr);
    } else {
        const timespec t = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
        futex_wait(&sequence, seen, &t);
    }
    lock.take();
    sleepers--;
}

void Cond::wake_all()
{
    if (sleepers == 0) return;
    __atomic_add_fetch(&sequence, 1, __ATOMIC_RELAXED);
    futex_wake(&sequence, INT_MAX);
}

} // namespace emu
