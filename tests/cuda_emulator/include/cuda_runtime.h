/* The emulated CUDA runtime: a test double for machines without a GPU, written from the public documentation.
 *
 * C sources get types and entry points; C++ sources (the project's .cu files, compiled by the host's
 * compiler) get the device language too: keywords, threadIdx and friends, barriers, shuffles, device math,
 * and the template behind the project's NT_LAUNCH. */
#ifndef NT_EMU_CUDA_RUNTIME_H
#define NT_EMU_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
#include <nt_emu_device.h>
#include <nt_emu_launch.h>
#include <nt_emu_math.h>
#endif

#endif
