// Doorstep: records that are written without signal, encrypted on the device, and merged without losing anything.
// Start here: replica.hpp (open, write, read), sync.hpp (talk to a relay), schema.hpp (record kinds as data).
// For tools, included by name: values.hpp (text to values and back), csv.hpp (imports), demo_data.hpp (an invented village).
#pragma once

#include "doorstep/replica.hpp"
#include "doorstep/schema.hpp"
#include "doorstep/sync.hpp"
#include "doorstep/version.hpp"
