/* Tells ThreadSanitizer the orders that the device promises, and no other: before(x) ... after(x) with the
 * same address. Nothing without it. The emulator's own files are compiled without instrumentation (their
 * locks and data are none of its business), so what they read and write for the program under test is told it
 * too. */
#ifndef NT_EMU_ORDER_H
#define NT_EMU_ORDER_H

#include <cstddef>

#ifdef NT_EMU_TSAN
extern "C" {
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_read_range(void *address, unsigned long n_bytes);
void __tsan_write_range(void *address, unsigned long n_bytes);
}
#endif
#if defined(__SANITIZE_ADDRESS__)
#define NT_EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NT_EMU_ASAN 1
#endif
#endif
#ifdef NT_EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu {

static inline void order_before(const void *token)
{
#ifdef NT_EMU_TSAN
    __tsan_release(const_cast<void *>(token));
#else
    (void)token;
#endif
}

static inline void order_after(const void *token)
{
#ifdef NT_EMU_TSAN
    __tsan_acquire(const_cast<void *>(token));
#else
    (void)token;
#endif
}

static inline void note_read(const void *address, size_t n_bytes)
{
#ifdef NT_EMU_TSAN
    __tsan_read_range(const_cast<void *>(address), n_bytes);
#else
    (void)address;
    (void)n_bytes;
#endif
}

static inline void note_write(void *address, size_t n_bytes)
{
#ifdef NT_EMU_TSAN
    __tsan_write_range(address, n_bytes);
#else
    (void)address;
    (void)n_bytes;
#endif
}

#ifdef NT_EMU_TSAN
/* Who ThreadSanitizer thinks is running; changing implies no order. */
static inline void see_flow(void *flow)
{
    __tsan_switch_to_fiber(flow, 1);
}

static inline void *make_seen_flow()
{
    return __tsan_create_fiber(0);
}

static inline void forget_seen_flow(void *flow)
{
    __tsan_destroy_fiber(flow);
}
#endif

/* Out of bounds for AddressSanitizer. */
static inline void forbid(void *address, size_t n_bytes)
{
#ifdef NT_EMU_ASAN
    __asan_poison_memory_region(address, n_bytes);
#else
    (void)address;
    (void)n_bytes;
#endif
}

static inline void permit(void *address, size_t n_bytes)
{
#ifdef NT_EMU_ASAN
    __asan_unpoison_memory_region(address, n_bytes);
#else
    (void)address;
    (void)n_bytes;
#endif
}

} // namespace emu
#endif
