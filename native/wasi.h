#ifndef BLITZ_WASI_H
#define BLITZ_WASI_H
#endif
