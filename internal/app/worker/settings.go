package worker

import "genesys-fanout/internal/process"

// settings are the settings of worker, from flags and environment variables.
type settings struct {
	process.Shared
	DeadLetters string `env:"FANOUT_DEAD_LETTERS" default:"./dead-letters" help:"Directory of the tracker, one for all workers; with off, this worker leaves dead letters to other workers."`
}

// noTracker is the value of FANOUT_DEAD_LETTERS for a worker without a tracker.
const noTracker = "off"
