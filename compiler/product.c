#include "compiler/product.h"

const ProductInfo product_info[PRODUCT_COUNT] = {
#define X(id, ...) [id] = {__VA_ARGS__},
    PRODUCT_TABLE(X)
#undef X
};
