// Command ingest consumes Genesys Cloud events from Kafka and starts one
// Temporal workflow per event.
package main

import (
	"os"

	"genesys-fanout/genesys"
	"genesys-fanout/ingest/command"
)

func main() {
	os.Exit(command.Main(func(o genesys.Options) (genesys.Source, error) { return genesys.New(o) }))
}
