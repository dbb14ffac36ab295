/* The graph grows as one protobuf message in the order of the model; a node's message is kept open while its
 * layer adds to it. Memory that runs out sticks in the message, or in `failed`. */
#include "core/onnx.h"

#include "core/file.h"
#include "core/net.h"
#include "core/pool.h"
#include "core/proto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET = 17, IR_VERSION = 8 };
enum { MODEL_IR = 1, MODEL_PRODUCER, MODEL_PRODUCER_VERSION, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTRIBUTE };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_F, ATTRIBUTE_I, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_INT64 = 7, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { ELEM_FLOAT = 1, ELEM_UINT8 = 2, ELEM_INT32 = 6, ELEM_INT64 = 7 };
enum { VALUE_NAME = 1, VALUE_TYPE = 2, TYPE_TENSOR = 1, TENSOR_TYPE_ELEM = 1, TENSOR_TYPE_SHAPE = 2 };
enum { SHAPE_DIM = 1, DIM_VALUE = 1, DIM_PARAM = 2 };

#define MAX_BYTES 2000000000 /* protobuf's limit is 2 GiB - 1 */

struct nt_onnx {
    nt_net *net;
    const nt_layer *layer;
    nt_pool pool;
    nt_proto graph, node, attributes, part;
    int n_names; /* made up so far */
    bool failed; /* out of memory outside of the messages */
};

/* --- names --- */

static const char *keep(nt_onnx *o, const char *text)
{
    char *kept = nt_pool_text(&o->pool, text, strlen(text));
    o->failed = o->failed || !kept;
    return kept ? kept : "";
}

/* "conv1/3": a name that no layer has. */
static const char *new_name(nt_onnx *o)
{
    char text[NT_NAME_BYTES + 16];
    snprintf(text, sizeof text, "%s/%d", o->layer->name, o->n_names++);
    return keep(o, text);
}

/* A layer's output: "layer/conv1", for a layer may be called "output" or like a parameter. */
static const char *output_name(nt_onnx *o, int node)
{
    char text[NT_NAME_BYTES + 8];
    const nt_model *model = nt_net_model(o->net);
    if (node == model->output) return "output";
    snprintf(text, sizeof text, "layer/%s", model->layer[node].name);
    return keep(o, text);
}

const char *nt_onnx_x(nt_onnx *o, int i)
{
    if (o->layer == &nt_net_model(o->net)->layer[0]) return "input";
    return output_name(o, o->layer->input[i]);
}

bool nt_onnx_reads_tokens(const nt_onnx *o)
{
    return nt_net_model(o->net)->spec.x_dtype == NT_I32;
}

const char *nt_onnx_param(nt_onnx *o, int p)
{
    char text[2 * NT_NAME_BYTES];
    const int owner = o->layer->param[p].owner;
    const nt_layer *layer = owner ? &nt_net_model(o->net)->layer[owner] : o->layer;
    (void)nt_layer_param_name(layer, owner ? 0 : p, text, sizeof text);
    return keep(o, text);
}

/* --- tensors --- */

static void begin_tensor(nt_onnx *o, const char *name, nt_shape shape, int elem_type)
{
    nt_proto_clear(&o->part);
    for (int i = 0; i < shape.n_dims; i++)
        nt_proto_int(&o->part, TENSOR_DIMS, shape.dim[i]);
    nt_proto_int(&o->part, TENSOR_TYPE, elem_type);
    nt_proto_string(&o->part, TENSOR_NAME, name);
}

static void put_floats(nt_onnx *o, const char *name, const float *values, nt_shape shape)
{
    begin_tensor(o, name, shape, ELEM_FLOAT);
    nt_proto_floats(&o->part, TENSOR_RAW, values, (size_t)nt_shape_elems(shape));
    nt_proto_message(&o->graph, GRAPH_INITIALIZER, &o->part);
}

const char *nt_onnx_floats(nt_onnx *o, const float *values, nt_shape shape)
{
    const char *name = new_name(o);
    put_floats(o, name, values, shape);
    return name;
}

const char *nt_onnx_number(nt_onnx *o, double value)
{
    return nt_onnx_floats(o, &(float){(float)value}, (nt_shape){0});
}

const char *nt_onnx_ints(nt_onnx *o, const int64_t *values, int n)
{
    const char *name = new_name(o);
    begin_tensor(o, name, nt_shape_of(1, (int64_t)n), ELEM_INT64);
    nt_proto_ints(&o->part, TENSOR_INT64, values, n);
    nt_proto_message(&o->graph, GRAPH_INITIALIZER, &o->part);
    return name;
}

/* --- operators --- */

void nt_onnx_op(nt_onnx *o, const char *type)
{
    nt_proto_clear(&o->node);
    nt_proto_clear(&o->attributes);
    nt_proto_string(&o->node, NODE_TYPE, type);
    nt_proto_string(&o->node, NODE_NAME, new_name(o));
}

void nt_onnx_input(nt_onnx *o, const char *name)
{
    nt_proto_string(&o->node, NODE_INPUT, name);
}

static void begin_attribute(nt_onnx *o, const char *name, int type)
{
    nt_proto_clear(&o->part);
    nt_proto_string(&o->part, ATTRIBUTE_NAME, name);
    nt_proto_int(&o->part, ATTRIBUTE_TYPE, type);
}

static void end_attribute(nt_onnx *o)
{
    nt_proto_message(&o->attributes, NODE_ATTRIBUTE, &o->part);
}

void nt_onnx_int(nt_onnx *o, const char *attribute, int64_t value)
{
    begin_attribute(o, attribute, TYPE_INT);
    nt_proto_int(&o->part, ATTRIBUTE_I, value);
    end_attribute(o);
}

void nt_onnx_int_list(nt_onnx *o, const char *attribute, const int64_t *values, int n)
{
    begin_attribute(o, attribute, TYPE_INTS);
    nt_proto_ints(&o->part, ATTRIBUTE_INTS, values, n);
    end_attribute(o);
}

void nt_onnx_float(nt_onnx *o, const char *attribute, double value)
{
    begin_attribute(o, attribute, TYPE_FLOAT);
    nt_proto_float(&o->part, ATTRIBUTE_F, (float)value);
    end_attribute(o);
}

static void end_node(nt_onnx *o, const char *output)
{
    nt_proto_string(&o->node, NODE_OUTPUT, output);
    nt_proto_raw(&o->node, o->attributes.bytes, o->attributes.n);
    o->failed = o->failed || o->attributes.failed;
    nt_proto_message(&o->graph, GRAPH_NODE, &o->node);
}

const char *nt_onnx_end(nt_onnx *o)
{
    const char *output = new_name(o);
    end_node(o, output);
    return output;
}

void nt_onnx_end_layer(nt_onnx *o)
{
    end_node(o, output_name(o, (int)(o->layer - nt_net_model(o->net)->layer)));
}

const char *nt_onnx_apply(nt_onnx *o, const char *type, const char *a, const char *b)
{
    nt_onnx_op(o, type);
    nt_onnx_input(o, a);
    if (b) nt_onnx_input(o, b);
    return nt_onnx_end(o);
}

void nt_onnx_same(nt_onnx *o, const char *type)
{
    nt_onnx_op(o, type);
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_end_layer(o);
}

/* --- the graph --- */

static void put_value(nt_onnx *o, int field, const char *name, int elem_type, nt_shape sample)
{
    nt_proto dim = {0}, shape = {0}, tensor = {0}, type = {0};
    nt_proto_string(&dim, DIM_PARAM, "N");
    nt_proto_message(&shape, SHAPE_DIM, &dim);
    for (int i = 0; i < sample.n_dims; i++) {
        nt_proto_clear(&dim);
        nt_proto_int(&dim, DIM_VALUE, sample.dim[i]);
        nt_proto_message(&shape, SHAPE_DIM, &dim);
    }
    nt_proto_int(&tensor, TENSOR_TYPE_ELEM, elem_type);
    nt_proto_message(&tensor, TENSOR_TYPE_SHAPE, &shape);
    nt_proto_message(&type, TYPE_TENSOR, &tensor);
    nt_proto_clear(&o->part);
    nt_proto_string(&o->part, VALUE_NAME, name);
    nt_proto_message(&o->part, VALUE_TYPE, &type);
    nt_proto_message(&o->graph, field, &o->part);
    nt_proto *all[] = {&dim, &shape, &tensor, &type};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        nt_proto_free(all[i]);
}

static nt_status put_params(nt_onnx *o)
{
    int64_t total = 0;
    for (int i = 0; i < nt_net_n_slots(o->net); i++) {
        const nt_slot *slot = nt_net_get_slot(o->net, i);
        int64_t n = nt_shape_elems(slot->tensor.shape);
        const nt_model *model = nt_net_model(o->net);
        if (model->layer[slot->layer].training_only && !nt_model_shares(model, slot->layer)) continue;
        total += n * (int64_t)sizeof(float);
        NT_CHECK(total < MAX_BYTES, NT_ERR_CONFIG,
                 "the model has more weights than fit in an ONNX file (2 GB); export safetensors");
        float *values = malloc((size_t)n * sizeof *values);
        NT_CHECK_ALLOC(values, (size_t)n * sizeof *values);
        nt_status status = nt_net_read(o->net, i, NT_ARRAY_PARAM, values);
        if (status == NT_OK) put_floats(o, slot->name, values, slot->tensor.shape);
        free(values);
        NT_TRY(status);
    }
    return NT_OK;
}

static nt_status put_layers(nt_onnx *o)
{
    const nt_model *model = nt_net_model(o->net);
    for (int i = 0; i <= model->output; i++) {
        o->layer = &model->layer[i];
        if (o->layer->training_only) continue;
        NT_CHECK(o->layer->ops->onnx, NT_ERR_CONFIG,
                 "layer %s: type %s has no form in ONNX here; export safetensors", o->layer->name,
                 o->layer->ops->section.name);
        nt_status status = o->layer->ops->onnx(o->layer, o);
        if (status != NT_OK) return nt_error_prefix(status, "layer %s: ", o->layer->name);
    }
    return NT_OK;
}

static nt_status make_graph(nt_onnx *o)
{
    const nt_model *model = nt_net_model(o->net);
    nt_dtype x = model->spec.x_dtype;
    o->layer = &model->layer[0];
    NT_TRY(put_layers(o));
    NT_TRY(put_params(o));
    nt_proto_string(&o->graph, GRAPH_NAME, "nntrain");
    put_value(o, GRAPH_INPUT, "input",
              x == NT_U8    ? ELEM_UINT8
              : x == NT_I32 ? ELEM_INT32
                            : ELEM_FLOAT,
              model->spec.x);
    put_value(o, GRAPH_OUTPUT, "output", ELEM_FLOAT, model->layer[model->output].out);
    NT_CHECK_ALLOC(!o->failed, o->graph.n);
    NT_TRY(nt_proto_check(&o->graph));
    return NT_OK;
}

static nt_status make_model(nt_onnx *o, nt_proto *model)
{
    NT_TRY(make_graph(o));
    nt_proto_clear(&o->part);
    nt_proto_string(&o->part, OPSET_DOMAIN, "");
    nt_proto_int(&o->part, OPSET_VERSION, OPSET);
    nt_proto_int(model, MODEL_IR, IR_VERSION);
    nt_proto_string(model, MODEL_PRODUCER, "nntrain");
    nt_proto_string(model, MODEL_PRODUCER_VERSION, NNTRAIN_VERSION);
    nt_proto_message(model, MODEL_OPSET, &o->part);
    nt_proto_message(model, MODEL_GRAPH, &o->graph);
    NT_TRY(nt_proto_check(model));
    return NT_OK;
}

static nt_status write_model(void *arg, int fd, const char *path)
{
    const nt_proto *model = arg;
    NT_CHECK(nt_file_write(fd, model->bytes, model->n), NT_ERR_IO, "cannot write '%s': %s", path,
             strerror(errno));
    return NT_OK;
}

nt_status nt_onnx_save(nt_net *net, const char *path)
{
    nt_onnx o = {.net = net};
    nt_proto model = {0};
    nt_status status = make_model(&o, &model);
    if (status == NT_OK) status = nt_file_replace(path, write_model, &model);
    nt_proto *all[] = {&o.graph, &o.node, &o.attributes, &o.part, &model};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        nt_proto_free(all[i]);
    nt_pool_free(&o.pool);
    NT_TRY(status);
    return NT_OK;
}
