# Specs: the loader, its texts, the fp64 reference.
unit(spec OBJECTS base compiler)
unit(ref OBJECTS base compiler)
