/* Memory for the emulator's own structures, which ThreadSanitizer must not know.
 *
 * They are made by one thread and freed by another under locks that it does not see (lock.h), so it would
 * take each free for a race. Under it they come straight from the C library's heap, past its interceptors;
 * otherwise from malloc, so that AddressSanitizer watches them. Global containers are references to ones that
 * are never freed: streams are still served while the process exits. What the program under test reads or
 * writes never lies here. */
#ifndef NT_EMU_HIDDEN_H
#define NT_EMU_HIDDEN_H

#include "tests/cuda_emulator/include/nt_emu.h"
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#ifdef NT_EMU_TSAN
extern "C" void *__libc_malloc(size_t n_bytes);
extern "C" void __libc_free(void *ptr);
#endif

namespace emu {

static inline void *hidden_alloc(size_t n_bytes)
{
#ifdef NT_EMU_TSAN
    void *ptr = __libc_malloc(n_bytes);
#else
    void *ptr = malloc(n_bytes);
#endif
    if (!ptr) nt_emu_die("out of host memory: could not get %zu bytes", n_bytes);
    return ptr;
}

static inline void hidden_free(void *ptr)
{
#ifdef NT_EMU_TSAN
    __libc_free(ptr);
#else
    free(ptr);
#endif
}

/* Base of structures made by new. */
struct Hidden {
    static void *operator new(size_t n_bytes)
    {
        return hidden_alloc(n_bytes);
    }
    static void operator delete(void *ptr)
    {
        hidden_free(ptr);
    }
};

template <typename T> struct HiddenHeap {
    using value_type = T;
    HiddenHeap() = default;
    template <typename U> HiddenHeap(const HiddenHeap<U> &)
    {
    }
    T *allocate(size_t n)
    {
        return static_cast<T *>(hidden_alloc(n * sizeof(T)));
    }
    void deallocate(T *ptr, size_t)
    {
        hidden_free(ptr);
    }
    template <typename U> bool operator==(const HiddenHeap<U> &) const
    {
        return true;
    }
    template <typename U> bool operator!=(const HiddenHeap<U> &) const
    {
        return false;
    }
};

template <typename T> using Vector = std::vector<T, HiddenHeap<T>>;
template <typename T> using Deque = std::deque<T, HiddenHeap<T>>;
template <typename K, typename V> using Map = std::map<K, V, std::less<K>, HiddenHeap<std::pair<const K, V>>>;

template <typename T, typename... A> static inline std::shared_ptr<T> make_hidden(A &&...args)
{
    return std::allocate_shared<T>(HiddenHeap<T>(), std::forward<A>(args)...);
}

} // namespace emu
#endif
