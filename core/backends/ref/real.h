/* One source, two backends: CMake compiles core/backends/ref twice, plainly as `ref` (float) and with
 * NT_REF_DOUBLE as `ref64` (double, for gradcheck).
 *
 * Every symbol of this folder that is not static is named through NT_REF(), so that the two builds live in
 * one library. Storage is `real`; sums are made in double in both. */
#ifndef NT_CORE_BACKENDS_REF_REAL_H
#define NT_CORE_BACKENDS_REF_REAL_H

#ifdef NT_REF_DOUBLE
typedef double real;
#define NT_REAL_DTYPE  NT_F64
#define NT_REF_NAME    "ref64"
#define NT_REF(name)   nt_ref64_##name
#define NT_BACKEND_REF nt_backend_ref64
#else
typedef float real;
#define NT_REAL_DTYPE  NT_F32
#define NT_REF_NAME    "ref"
#define NT_REF(name)   nt_ref_##name
#define NT_BACKEND_REF nt_backend_ref
#endif

#endif
