/* How kernels are launched: the one place where the emulator of the device (tests/cuda_emulator) and nvcc
 * differ. Everything else in a .cu file is plain CUDA C++ that both compile.
 *
 * A .cu file holds static kernels and extern "C" launchers that return cudaGetLastError() as int. A kernel
 * that is a template with several arguments is put in parentheses: NT_LAUNCH((scale<float, 4>), ...). */
#ifndef NT_CORE_BACKENDS_CUDA_LAUNCH_CUH
#define NT_CORE_BACKENDS_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>

#ifdef NT_CUDA_EMULATOR
/* In the emulator's cuda_runtime.h: a template that copies the arguments and puts the kernel into the
 * stream's queue; memory of the running block. */
#define NT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                            \
    nt_emu_launch((kernel), #kernel, dim3(grid), dim3(block), (size_t)(shared_bytes),                        \
                  (cudaStream_t)(stream), __VA_ARGS__)
#define NT_DYNAMIC_SHARED(type, name) type *const name = (type *)nt_emu_dynamic_shared()
#else
#define NT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                            \
    (kernel)<<<(grid), (block), (shared_bytes), (cudaStream_t)(stream)>>>(__VA_ARGS__)
/* One array for all types, because an extern array of one name has one type in a file. */
#define NT_DYNAMIC_SHARED(type, name)                                                                        \
    extern __shared__ __align__(16) unsigned char nt_dynamic_shared[];                                       \
    type *const name = reinterpret_cast<type *>(nt_dynamic_shared)
#endif

#endif
