unit(base OBJECTS base)
