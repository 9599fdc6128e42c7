#include "emulator/exec/arith_body.h"

const ArCode ar_code_base = AR_CODE;
