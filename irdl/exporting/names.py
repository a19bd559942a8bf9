"""Names for C after those of Python."""

from __future__ import annotations

import re
from collections.abc import Collection


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: words that C or C++ keep for themselves, macros and types of their headers, macros of compilers, and names that the header uses
_TAKEN = _words(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await co_return co_yield
    compl concept const const_cast consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum explicit
    export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct
    switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void
    volatile wchar_t while xor xor_eq
    BUFSIZ EOF FILE I INFINITY NAN NULL assert complex errno far fpclassify huge imaginary isfinite isgreater isgreaterequal isinf isless
    islessequal islessgreater isnan isnormal isunordered linux max_align_t near noreturn offsetof ptrdiff_t setjmp signbit size_t ssize_t
    stderr stdin stdout time_t unix va_arg va_copy va_end va_list va_start
    initial memory state
    """
)
_TAKEN_TOO = re.compile(
    r"u?int(_fast|_least)?\d+_t|u?int(max|ptr)_t|U?INT(_FAST|_LEAST)?\d+(_MIN|_MAX|_C)|(M|FLT|DBL|LDBL|HUGE)_[A-Z0-9_]+|[A-Z]+_M(IN|AX)|irdl_.*"
)
#: functions of floating point, each for three types
_MATHEMATICS = _words(
    """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh drem erf erfc exp exp10 exp2 expm1 fabs fdim finite floor fma fmax fmin
    fmod frexp gamma hypot ilogb j0 j1 jn ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan nearbyint nextafter
    nexttoward pow pow10 remainder remquo rint round roundeven scalb scalbln scalbn significand sin sincos sinh sqrt tan tanh tgamma trunc
    y0 y1 yn cabs cacos cacosh carg casin casinh catan catanh ccos ccosh cexp cimag clog conj cpow cproj creal csin csinh csqrt ctan ctanh
    """
)
#: what C programs and their libraries are made of: another function of such a name would be called in its place
FUNCTIONS = _words(
    """
    main abort abs accept access alarm atexit atof atoi atol atoll bcmp bcopy bind brk bsearch bzero calloc chdir chmod clearerr clock close
    connect creat ctime difftime div dup dup2 environ execve exit fclose fdopen feof ferror fflush ffs fgetc fgetpos fgets fileno fopen fork
    fprintf fputc fputs fread free freopen fscanf fseek fsetpos fsync ftell ftruncate fwrite getc getchar getenv getpid gets gmtime index
    ioctl isalnum isalpha isascii isatty isblank iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit kill labs ldiv
    link listen llabs lldiv localtime longjmp lseek malloc mblen mbtowc memccpy memchr memcmp memcpy memmem memmove mempcpy memset mkdir
    mktime mmap mount munmap nanosleep nice open pause perror pipe poll printf putc putchar putenv puts qsort raise rand random read
    realloc recv remove rename rewind rindex rmdir sbrk scanf select send setbuf setenv setvbuf shutdown signal sleep snprintf socket
    sprintf srand srandom sscanf stat strcasecmp strcat strchr strcmp strcoll strcpy strcspn strdup strerror strftime strlen strncat
    strncmp strncpy strnlen strpbrk strrchr strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm sync syscall
    sysconf system tee time times tmpfile tmpnam tolower toupper truncate umask uname ungetc unlink usleep vfprintf vprintf vsnprintf
    vsprintf wait waitpid wctomb write
    """
).union(name + suffix for name in _MATHEMATICS for suffix in ("", "f", "l"))


def identifier(text: str, taken: Collection[str] = ()) -> str:
    """A name for C after one of Python's, other than those taken. None ends with `_`."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "x"
    name = f"x{name}" if name[0].isdigit() else name
    found, count = name, 1
    while found in _TAKEN or found in taken or _TAKEN_TOO.fullmatch(found):
        count += 1
        found = f"{name}_{count}"
    return found
