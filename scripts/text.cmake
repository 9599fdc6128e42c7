# Writes OUT, C that has the text of FILE as the array NAME, ended by 0.
file(READ ${FILE} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "static const char ${NAME}[] = {\n${bytes}0};\n" @ONLY)
