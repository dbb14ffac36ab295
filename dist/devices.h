/* Which rank has which device. */
#ifndef NT_DIST_DEVICES_H
#define NT_DIST_DEVICES_H

#include "dist/comm.h"

/* Compares the devices of all ranks' backends. Two ranks on one device: NT_ERR_UNAVAILABLE that names both,
 * the same on all ranks (NCCL would hang or crash there). Devices of different kinds: a warning. Collective.
 */
NT_MUST nt_status nt_devices_check(nt_comm *comm);

#endif
