/* Matrix products for the emulated cuBLAS: column-major, float32 accumulation, on the calling thread. */
#ifndef NT_EMU_GEMM_H
#define NT_EMU_GEMM_H

#include <stdbool.h>
#include <stdint.h>

typedef enum emu_element {
    EMU_F32,
    EMU_TF32,
    EMU_BF16
} emu_element; /* TF32: float32, read rounded to 10 bits */

typedef struct emu_matrix {
    void *data;
    emu_element type;
    bool transposed; /* as stored: columns of op(X) are its rows */
    int64_t ld;
} emu_matrix;

/* C (m, n) = alpha op(A) (m, k) op(B) (k, n) + beta C. C is not read if beta is 0, A and B are not if alpha
 * is 0. The sum over k is taken in float32 in an order that depends on k alone. False if there is no memory.
 */
bool emu_gemm(emu_matrix c, emu_matrix a, emu_matrix b, int64_t m, int64_t n, int64_t k, float alpha,
              float beta);

/* Round to nearest, ties to even; NaN becomes 0x7fff. And back. */
uint16_t emu_bf16_of(float f);
float emu_bf16_value(uint16_t bits);

#endif
