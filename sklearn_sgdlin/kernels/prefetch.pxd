"""Ask for memory that a loop needs soon, where the compiler can."""

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define SGDLIN_PREFETCH(address) __builtin_prefetch(address, 0, 1)
    #define SGDLIN_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
    #else
    #define SGDLIN_PREFETCH(address) (void)(address)
    #define SGDLIN_PREFETCH_TO_WRITE(address) (void)(address)
    #endif
    """
    void prefetch "SGDLIN_PREFETCH" (const void* address) noexcept nogil
    void prefetch_to_write "SGDLIN_PREFETCH_TO_WRITE" (const void* address) noexcept nogil
