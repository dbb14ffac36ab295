/* ONNX export: the graph of a model and its weights for other runtimes (opset 17, IR version 8, which every
 * runtime of the last years reads; batch dimension free).
 *
 * A layer type says what it is in ONNX's operators through nt_layer_ops.onnx, with the functions below; a
 * type without one cannot be exported. The file's output is that of the model, logits where a loss takes
 * logits. Field numbers and operators: onnx.proto3 and Operators.md of github.com/onnx/onnx. */
#ifndef NT_CORE_ONNX_H
#define NT_CORE_ONNX_H

#include "core/layer.h"

typedef struct nt_net nt_net;

/* Writes the net's model with its parameters: whole, or not at all. NT_ERR_CONFIG for a layer that ONNX does
 * not have or a model beyond the format's 2 GiB, NT_ERR_CREATE, NT_ERR_IO. */
NT_MUST nt_status nt_onnx_save(nt_net *net, const char *path);

/* --- for layer types --- */

typedef struct nt_onnx nt_onnx; /* the file being made, and the layer that is asked (core/layer.h) */

/* Names of tensors: the layer's i-th input, its p-th parameter, constants. They live as long as the file. */
const char *nt_onnx_x(nt_onnx *o, int i);
const char *nt_onnx_param(nt_onnx *o, int p);
const char *nt_onnx_floats(nt_onnx *o, const float *values, nt_shape shape);
const char *nt_onnx_ints(nt_onnx *o, const int64_t *values, int n);
const char *nt_onnx_number(nt_onnx *o, double value); /* a scalar */

bool nt_onnx_reads_tokens(const nt_onnx *o); /* the data are integers, for an embedding */

/* One operator: begin with its type, add inputs and attributes in order, end it. */
void nt_onnx_op(nt_onnx *o, const char *type);
void nt_onnx_input(nt_onnx *o, const char *name);
void nt_onnx_int(nt_onnx *o, const char *attribute, int64_t value);
void nt_onnx_int_list(nt_onnx *o, const char *attribute, const int64_t *values, int n);
void nt_onnx_float(nt_onnx *o, const char *attribute, double value);
const char *nt_onnx_end(nt_onnx *o); /* its output, for the next operator */
void nt_onnx_end_layer(nt_onnx *o);  /* its output is the layer's */

/* An operator with inputs and no attributes; NULL ends them. */
const char *nt_onnx_apply(nt_onnx *o, const char *type, const char *a, const char *b);

/* A whole layer that is one operator of its one input without attributes. */
void nt_onnx_same(nt_onnx *o, const char *type);

#endif
