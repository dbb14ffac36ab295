/* Shared by infer() of several layer types. Windows are resolved axis by axis, and kernel, stride, dilation
 * and padding are bounded first, so that no product below can overflow whatever a config says. */
#include "core/layers/common.h"

const char *const nt_bias_choices[] = {"auto", "yes", "no", NULL};

bool nt_layer_wants_bias(const nt_layer *layer, int choice)
{
    return choice == NT_BIAS_YES || (choice == NT_BIAS_AUTO && !layer->has_batchnorm);
}

nt_status nt_layer_need_image(const nt_layer *layer, int index)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[index].n_dims == 3, NT_ERR_CONFIG,
             "%s needs an input of shape channels x height x width, got %s", layer->ops->section.name,
             nt_shape_text(layer->in[index], text));
    return NT_OK;
}

/* One axis of nt_window_resolve; false if the window does not fit. reach: taps from first to last, >= 1. */
static bool resolve_axis(int64_t size, int64_t reach, int64_t stride, int64_t padding, int64_t *out,
                         int64_t *begin, int64_t *end)
{
    if (padding < 0) {
        *out = (size - 1) / stride + 1;
        int64_t zeros = (*out - 1) * stride + reach - size;
        if (zeros < 0) zeros = 0;
        *begin = zeros / 2;
        *end = zeros - *begin;
        return true;
    }
    *begin = *end = padding;
    int64_t room = size + 2 * padding - reach;
    *out = room < 0 ? 0 : room / stride + 1;
    return room >= 0;
}

nt_status nt_window_resolve(const nt_layer *layer, const nt_window *window, int64_t out[2],
                            int64_t pad_begin[2], int64_t pad_end[2])
{
    NT_TRY(nt_layer_need_image(layer, 0));
    const int64_t limit = (int64_t)1 << 20; /* the products below stay within 2^41 */
    for (int i = 0; i < 2; i++) {
        int64_t kernel = window->kernel[i], stride = window->stride[i], padding = window->padding[i];
        int64_t dilation = window->dilation[i], size = layer->in[0].dim[1 + i];
        const char *type = layer->ops->section.name, *axis = i == 0 ? "height" : "width";
        NT_CHECK(kernel >= 1 && kernel <= limit && stride >= 1 && stride <= limit && dilation >= 1 &&
                     dilation <= limit && padding >= -1 && padding <= limit,
                 NT_ERR_CONFIG, "%s: kernel %lld, stride %lld, dilation %lld or padding %lld is out of range",
                 type, (long long)kernel, (long long)stride, (long long)dilation, (long long)padding);
        char text[NT_SHAPE_TEXT_BYTES];
        int64_t reach = (kernel - 1) * dilation + 1;
        NT_CHECK(resolve_axis(size, reach, stride, padding, &out[i], &pad_begin[i], &pad_end[i]),
                 NT_ERR_CONFIG,
                 "%s: a kernel of %lldx%lld (%lld wide with its dilation) does not fit into input %s with "
                 "padding %lld: the output's %s would be empty",
                 type, (long long)window->kernel[0], (long long)window->kernel[1], (long long)reach,
                 nt_shape_text(layer->in[0], text), (long long)padding, axis);
    }
    return NT_OK;
}

int64_t nt_count_mul(int64_t a, int64_t b)
{
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}
