/* Locks and condition variables of the emulator, straight on futexes.
 *
 * pthread's are known to ThreadSanitizer, which would then see every stream ordered after every other through
 * the emulator's own locks, and find no missing event wait any more. These are invisible to it; the orders
 * that the device promises are told it one by one (order.h). Sleeping, never spinning. */
#ifndef NT_EMU_LOCK_H
#define NT_EMU_LOCK_H

#include <cstdint>

namespace emu {

class Lock {
    int word = 0; /* 0 free, 1 taken, 2 taken and somebody may sleep */
  public:
    void take();
    void give();
};

class Cond {
    int sequence = 0;
    int sleepers = 0;

  public:
    /* Gives the lock, sleeps until woken or until `timeout_ns` (negative: for ever) has passed, takes it
     * again. May wake without reason. */
    void wait(Lock &lock, int64_t timeout_ns = -1);
    /* With the lock taken. */
    void wake_all();
};

/* Holds a lock for a scope. */
class Held {
    Lock &lock;

  public:
    explicit Held(Lock &l) : lock(l)
    {
        lock.take();
    }
    ~Held()
    {
        lock.give();
    }
    Held(const Held &) = delete;
    Held &operator=(const Held &) = delete;
};

} // namespace emu
#endif
