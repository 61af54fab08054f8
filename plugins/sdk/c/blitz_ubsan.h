/* blitz_ubsan.h: what a debug build calls where it finds undefined behaviour. blitz.h includes it.
 *
 * zig cc checks for undefined behaviour unless it optimizes, and so does clang with -fsanitize=undefined;
 * the functions that the checks call are in a library that a freestanding module does not have. Here they
 * log what was found and where, and trap. The names and types are those of LLVM's compiler-rt. */
#ifndef BLITZ_UBSAN_H
#define BLITZ_UBSAN_H

/* What every check hands over first. */
typedef struct {
    const char *file; /* NUL-terminated, or NULL */
    uint32_t line, column;
} blitz_ubsan_place;

BLITZ_FN void blitz_ubsan_stop(const blitz_ubsan_place *place, blitz_str what)
{
    char text[256];
    blitz_writer writer = blitz_writer_on(text, sizeof text);
    blitz_put(&writer, BLITZ_STR("undefined behaviour: "));
    blitz_put(&writer, what);
    if (place->file != NULL) {
        blitz_put(&writer, BLITZ_STR(" at "));
        for (const char *c = place->file; *c != 0; c++) {
            blitz_put_char(&writer, *c);
        }
        blitz_put_char(&writer, ':');
        blitz_put_u64(&writer, place->line);
        blitz_put_char(&writer, ':');
        blitz_put_u64(&writer, place->column);
    }
    blitz_log(BLITZ_STR("error"), blitz_written(&writer));
    __builtin_trap();
}

/* Weak: a runtime that is linked after all, or a second file of the plugin, takes precedence. */
#define BLITZ_UBSAN(name, what, parameters)                                                        \
    BLITZ_C __attribute__((weak, no_sanitize("undefined"))) void __ubsan_handle_##name parameters; \
    void __ubsan_handle_##name parameters                                                          \
    {                                                                                              \
        blitz_ubsan_stop(place, BLITZ_STR(what));                                                  \
    }
#define BLITZ_UBSAN_0 (const blitz_ubsan_place *place)
#define BLITZ_UBSAN_1 (const blitz_ubsan_place *place, uintptr_t a)
#define BLITZ_UBSAN_2 (const blitz_ubsan_place *place, uintptr_t a, uintptr_t b)
#define BLITZ_UBSAN_3 (const blitz_ubsan_place *place, uintptr_t a, uintptr_t b, uintptr_t c)

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-parameter"
#pragma clang diagnostic ignored "-Wreserved-identifier"
BLITZ_UBSAN(type_mismatch_v1, "a pointer that is null, misaligned or to too small an object", BLITZ_UBSAN_1)
BLITZ_UBSAN(alignment_assumption, "an assumed alignment that does not hold", BLITZ_UBSAN_3)
BLITZ_UBSAN(add_overflow, "integer overflow in an addition", BLITZ_UBSAN_2)
BLITZ_UBSAN(sub_overflow, "integer overflow in a subtraction", BLITZ_UBSAN_2)
BLITZ_UBSAN(mul_overflow, "integer overflow in a multiplication", BLITZ_UBSAN_2)
BLITZ_UBSAN(negate_overflow, "integer overflow in a negation", BLITZ_UBSAN_1)
BLITZ_UBSAN(divrem_overflow, "division by zero, or one that overflows", BLITZ_UBSAN_2)
BLITZ_UBSAN(shift_out_of_bounds, "a shift by too many bits", BLITZ_UBSAN_2)
BLITZ_UBSAN(out_of_bounds, "an index out of bounds", BLITZ_UBSAN_1)
BLITZ_UBSAN(local_out_of_bounds, "an index out of bounds", BLITZ_UBSAN_0)
BLITZ_UBSAN(builtin_unreachable, "code was reached that is marked unreachable", BLITZ_UBSAN_0)
BLITZ_UBSAN(missing_return, "the end of a function that has to return a value", BLITZ_UBSAN_0)
BLITZ_UBSAN(vla_bound_not_positive, "an array of no or negative length", BLITZ_UBSAN_1)
BLITZ_UBSAN(float_cast_overflow, "a number that its new type cannot hold", BLITZ_UBSAN_1)
BLITZ_UBSAN(load_invalid_value, "a value that its type does not have", BLITZ_UBSAN_1)
BLITZ_UBSAN(implicit_conversion, "a number that its new type cannot hold", BLITZ_UBSAN_2)
BLITZ_UBSAN(invalid_builtin, "a builtin function with an argument it does not take", BLITZ_UBSAN_0)
BLITZ_UBSAN(function_type_mismatch, "a call of a function of another type", BLITZ_UBSAN_1)
BLITZ_UBSAN(nonnull_return_v1, "a null return value of a function that must not have one", BLITZ_UBSAN_1)
BLITZ_UBSAN(nullability_return_v1, "a null return value of a function that must not have one", BLITZ_UBSAN_1)
BLITZ_UBSAN(nonnull_arg, "a null argument where none is allowed", BLITZ_UBSAN_0)
BLITZ_UBSAN(nullability_arg, "a null argument where none is allowed", BLITZ_UBSAN_0)
BLITZ_UBSAN(pointer_overflow, "pointer arithmetic that leaves its object", BLITZ_UBSAN_2)
#pragma clang diagnostic pop
#endif /* BLITZ_UBSAN_H */
