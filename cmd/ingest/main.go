// Command ingest consumes Genesys Cloud events from Kafka and starts one
// Temporal workflow per event.
package main

import (
	"os"

	"genesys-fanout/genesys"
	"genesys-fanout/internal/app/ingest"
	"genesys-fanout/internal/process"
)

func main() {
	newSource := func(o genesys.Options) (genesys.Source, error) { return genesys.New(o) }
	os.Exit(process.Main(ingest.Name, ingest.Command(newSource)))
}
