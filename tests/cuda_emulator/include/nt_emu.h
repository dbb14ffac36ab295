/* What the emulated libraries (cuBLAS, NCCL) and tests need of the emulated runtime beyond CUDA's own entry
 * points and queue.h: settings by environment, reports, the generator of the seeded scheduler. A test double.
 */
#ifndef NT_EMU_H
#define NT_EMU_H

#include <cuda_runtime_api.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Index on this machine (not renumbered by CUDA_VISIBLE_DEVICES) of a device of this process. */
int nt_emu_physical_device(int device);

/* Integer in the environment, or `otherwise`; a bad number is reported and ends the process. */
int64_t nt_emu_env(const char *name, int64_t otherwise);

/* Says on stderr what the program under test did wrong, and aborts. */
void nt_emu_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Says it and goes on; the process will not exit with 0 (the status becomes 24). */
void nt_emu_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Next number of the scheduler's generator; 0 without NT_EMU_SEED. */
uint64_t nt_emu_random(void);

#ifdef __cplusplus
}
#endif
#endif
