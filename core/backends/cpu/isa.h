/* Which of our instruction sets to use: the machine's best, but no better than what oneDNN may use, so that
 * DNNL_MAX_CPU_ISA=AVX2 makes all of the backend behave as on a machine without AVX-512. */
#ifndef NT_CORE_BACKENDS_CPU_ISA_H
#define NT_CORE_BACKENDS_CPU_ISA_H

typedef enum nt_isa {
    NT_ISA_BASE,
    NT_ISA_AVX2,   /* with FMA */
    NT_ISA_AVX512, /* f, vl, bw, dq */
} nt_isa;

nt_isa nt_isa_best(void);

#endif
