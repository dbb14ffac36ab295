/* conv2d in three files: op_conv2d.c has the op and oneDNN's direct convolution, op_conv2d_choice.c chooses
 * between that and our Winograd convolution (winograd.h), op_conv2d_depthwise.c has what oneDNN lacks. */
#ifndef NT_CORE_BACKENDS_CPU_OP_CONV2D_H
#define NT_CORE_BACKENDS_CPU_OP_CONV2D_H

#include "core/backends/cpu/cpu.h"
#include "core/backends/cpu/winograd.h"

typedef enum nt_conv_pass { NT_CONV_FORWARD, NT_CONV_DATA, NT_CONV_WEIGHTS, NT_CONV_PASSES } nt_conv_pass;

typedef struct nt_conv {
    nt_dnnl_conv desc;          /* with the formats of forward */
    dnnl_primitive_desc_t hint; /* of forward */
    nt_cpu_task task[NT_CONV_PASSES];
    int threads; /* that the layer is worth */
    bool runs[NT_CONV_PASSES];
    nt_winograd_shape winograd;
    int tile[NT_CONV_PASSES]; /* of Winograd; 0: direct */
    bool depthwise;           /* the weights' gradient is that of op_conv2d_depthwise.c */
} nt_conv;

/* Whether Winograd can stand in for the direct passes: sets c->winograd but for the tile. */
bool nt_conv_can_winograd(const nt_op *op, nt_conv *c);
size_t nt_conv_scratch(const nt_conv *c, nt_conv_pass pass);
/* Runs a pass by the algorithm chosen for it. */
NT_MUST nt_status nt_conv_run(nt_op *op, nt_conv *c, nt_conv_pass pass, bool accumulate);
/* Sets c->tile[pass] from op->tuning, or by timing. The direct task exists. */
NT_MUST nt_status nt_conv_choose(nt_op *op, nt_conv *c, nt_conv_pass pass);

/* Whether nt_conv_depthwise_weights can make the weights' gradient. */
bool nt_conv_can_depthwise(const nt_op *op);
void nt_conv_depthwise_weights(const nt_op *op, bool accumulate);

#endif
