/* A step's sums and verdict in host memory: what nt_backend_add_losses, _judge and _ratios are where a
 * backend has nothing of its own, and what those of a device are compared with. */
#ifndef NT_CORE_REPORT_H
#define NT_CORE_REPORT_H

#include "core/backend.h"

/* y: (n, 2) of `real`. Sums the n first and then adds them, so that the pieces of a batch group alike. */
void nt_host_add_losses(nt_report *report, const void *y, nt_dtype real, int64_t n);

void nt_host_judge(nt_report *report, double *squares, int n, int n_others, double clip);

void nt_host_ratios(double *pairs, const double *decay, const double *scale, double coefficient, int n);

#endif
