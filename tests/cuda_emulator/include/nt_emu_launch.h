/* Kernel launches of the emulated CUDA runtime: what NT_LAUNCH of the project's launch.cuh expands to when
 * the host's compiler builds it. A test double.
 *
 * The arguments are converted to the kernel's parameter types and copied, as at a real launch; the copy is
 * read when the stream gets there, and by every replay of a captured graph. */
#ifndef NT_EMU_LAUNCH_H
#define NT_EMU_LAUNCH_H

#include <cuda_runtime_api.h>
#include <new>
#include <tuple>
#include <type_traits>

/* A launch as the runtime sees it. */
struct nt_emu_kernel {
    const char *name;
    const void *entry;                /* the kernel's address: key of cudaFuncSetAttribute */
    void *closure;                    /* kernel and arguments; owned by the runtime from the launch on */
    void (*run)(const void *closure); /* one thread of the kernel */
    void (*destroy)(void *closure);
    const void *const
        *pointers; /* (n_args): those arguments that are pointers, else NULL; read at the launch only */
    int n_args;
};

extern "C" cudaError_t nt_emu_launch_kernel(const nt_emu_kernel *kernel, dim3 grid, dim3 block,
                                            size_t shared_bytes, cudaStream_t stream);

template <typename... P> struct nt_emu_closure {
    void (*kernel)(P...);
    std::tuple<std::decay_t<P>...> args;

    static void run(const void *self)
    {
        const nt_emu_closure *c = static_cast<const nt_emu_closure *>(self);
        std::apply(c->kernel, c->args);
    }
    static void destroy(void *self)
    {
        delete static_cast<nt_emu_closure *>(self);
    }
};

template <typename T> static inline const void *nt_emu_pointer(T value)
{
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>)
        return (const void *)value;
    else
        return nullptr;
}

template <typename... P, typename... A>
static inline cudaError_t nt_emu_launch(void (*kernel)(P...), const char *name, dim3 grid, dim3 block,
                                        size_t shared_bytes, cudaStream_t stream, A... args)
{
    static_assert(sizeof...(P) == sizeof...(A), "a kernel takes exactly its parameters");
    static_assert((std::is_trivially_copyable_v<std::decay_t<P>> && ...), "parameters are copied as bytes");
    static_assert((!std::is_reference_v<P> && ...), "a kernel takes no references");
    using closure = nt_emu_closure<P...>;
    closure *c = new closure{kernel, std::tuple<std::decay_t<P>...>(static_cast<P>(args)...)};
    const void *const pointers[sizeof...(P) + 1] = {nt_emu_pointer(static_cast<P>(args))..., nullptr};
    const nt_emu_kernel k = {name,
                             reinterpret_cast<const void *>(kernel),
                             c,
                             closure::run,
                             closure::destroy,
                             pointers,
                             (int)sizeof...(P)};
    return nt_emu_launch_kernel(&k, grid, block, shared_bytes, stream);
}

/* As CUDA's own overload: the kernel itself in place of a pointer to void. */
template <typename R, typename... P>
static inline cudaError_t cudaFuncSetAttribute(R (*func)(P...), enum cudaFuncAttribute attribute, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(func), attribute, value);
}

/* As CUDA's own overload: typed pointers. */
template <typename T> static inline cudaError_t cudaMalloc(T **ptr, size_t n_bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(ptr), n_bytes);
}
template <typename T> static inline cudaError_t cudaMallocHost(T **ptr, size_t n_bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(ptr), n_bytes);
}

#endif
