package topology

import "github.com/roam-sessions/roam/internal/yamlfile"

// maxFaults bounds what one file is told: see yamlfile.MaxFaults.
const maxFaults = yamlfile.MaxFaults

// A Fault is one thing that is wrong with a file. It holds no value of a key that
// may be a secret.
type Fault = yamlfile.Fault

// Faults is the error of Parse: all that is wrong, from top to bottom.
type Faults = yamlfile.Faults
