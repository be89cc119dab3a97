// Command worker runs FanOut: it delivers events to their targets, and keeps dead
// letters.
package main

import (
	"os"

	"genesys-fanout/internal/app/worker"
	"genesys-fanout/internal/process"
)

func main() { os.Exit(process.Main(worker.Name, worker.Command)) }
