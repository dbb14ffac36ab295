/* How the entry points of the runtime begin, and hand errors back: for the files that define them. */
#ifndef NT_EMU_ENTRY_H
#define NT_EMU_ENTRY_H

#define ENTER()                                                                                              \
    do {                                                                                                     \
        const cudaError_t enter_error = emu::enter();                                                        \
        if (enter_error != cudaSuccess) return enter_error;                                                  \
    } while (0)

#define CHECK(expr)                                                                                          \
    do {                                                                                                     \
        const cudaError_t check_error = (expr);                                                              \
        if (check_error != cudaSuccess) return check_error;                                                  \
    } while (0)

#endif
