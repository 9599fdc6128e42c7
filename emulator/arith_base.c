#include "emulator/arith_body.h"

const ArCode ar_code_base = AR_CODE;
