unit(base OBJECTS base)
unit(schedule OBJECTS base)
unit(ptx OBJECTS base)
