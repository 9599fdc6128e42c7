unit(base OBJECTS base)
unit(schedule OBJECTS base)
