// Command worker runs the workflow FanOut: it delivers events to their targets, and records dead
// letters.
package main

import (
	"os"

	"genesys-fanout/internal/app/worker"
	"genesys-fanout/internal/process"
)

func main() { os.Exit(process.Main(worker.Name, worker.Command)) }
