/* What the kernel's files say about cores. `root` is the folder in which its /sys is: "" but in tests. */
#ifndef NT_DIST_MACHINE_H
#define NT_DIST_MACHINE_H

#include <sched.h>
#include <stdbool.h>

/* First line of a small file into text; false if there is none. */
bool nt_machine_line(const char *path, char *text, int cap);

/* The lowest hardware thread of `cpu`'s core that is in the set; the cpu itself if unknown. */
int nt_machine_first_sibling(const char *root, int cpu, const cpu_set_t *set);

/* The socket of a hardware thread; 0 if unknown. */
int nt_machine_socket(const char *root, int cpu);

/* Cores' worth of time that the control group allows this host's job, rounded up; 0 if there is no quota. */
int nt_machine_quota(const char *root);

#endif
