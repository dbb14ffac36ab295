/* The weights' gradient of a depthwise convolution, one plane of NT_LANES channels. Part of vec_body.h. */

/* Taps [s, s + n) of row r of the kernel: dw (n, NT_LANES) += sum over outputs (p, q) of dy x. */
INLINE void depthwise_taps(const nt_vec_window *w, float *dw, const float *dy, const float *x, int64_t r,
                           int64_t s, int n)
{
    const int64_t step = w->stride[1], lead = w->pad[1] - s, last = w->size[1] - n + lead;
    int64_t inside = lead > 0 ? (lead + step - 1) / step : 0, beyond = last < 0 ? 0 : last / step + 1;
    if (beyond > w->out[1]) beyond = w->out[1];
    if (inside > beyond) inside = beyond;
    lanes_f sum[7] = {{0}};
    for (int64_t p = 0; p < w->out[0]; p++) {
        const int64_t row = p * w->stride[0] - w->pad[0] + r;
        if (row < 0 || row >= w->size[0]) continue;
        const float *from = x + row * w->size[1] * NT_LANES, *d = dy + p * w->out[1] * NT_LANES;
        for (int64_t q = inside; q < beyond; q++)
            for (int k = 0; k < n; k++)
                sum[k] += lanes_load(d + q * NT_LANES, NT_LANES) *
                          lanes_load(from + (q * step - lead + k) * NT_LANES, NT_LANES);
        for (int64_t q = 0; q < w->out[1]; q++) { /* the border, where some taps are outside */
            if (q == inside) q = beyond;
            if (q >= w->out[1]) break;
            for (int k = 0; k < n; k++) {
                const int64_t col = q * step - lead + k;
                if (col >= 0 && col < w->size[1])
                    sum[k] +=
                        lanes_load(d + q * NT_LANES, NT_LANES) * lanes_load(from + col * NT_LANES, NT_LANES);
            }
        }
    }
    for (int k = 0; k < n; k++)
        lanes_store(dw + k * NT_LANES, lanes_load(dw + k * NT_LANES, NT_LANES) + sum[k], NT_LANES);
}

static void vec_depthwise_weights(const nt_vec_window *w, float *dw, const float *dy, const float *x)
{
    const int64_t width = w->kernel[1];
    for (int64_t r = 0; r < w->kernel[0]; r++, dw += width * NT_LANES) {
        if (width == 3)
            depthwise_taps(w, dw, dy, x, r, 0, 3);
        else if (width == 5)
            depthwise_taps(w, dw, dy, x, r, 0, 5);
        else if (width == 7)
            depthwise_taps(w, dw, dy, x, r, 0, 7);
        else
            for (int64_t s = 0; s < width; s++)
                depthwise_taps(w, dw + s * NT_LANES, dy, x, r, s, 1);
    }
}
