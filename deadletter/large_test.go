package deadletter

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// createRecordFiles creates n empty files with the names of open records of one target.
func createRecordFiles(t *testing.T, path string, n int) {
	t.Helper()
	for i := range n {
		name := filepath.Join(path, FileName("compliance-service", fmt.Sprint("evt-", i)))
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
}

// It finds the open records of one event in a fraction of the time that a listing of 100,000
// records takes.
func TestOpenTargets_DoesNotListAllRecords(t *testing.T) {
	d, path := openTracker(t)
	require.NoError(t, d.Record(t.Context(), newRecord("evt", "run-1")))
	createRecordFiles(t, path, 100_000)
	began := time.Now()
	files := 0
	for _, err := range d.openFiles(t.Context()) {
		require.NoError(t, err)
		files++
	}
	listing := time.Since(began)
	require.Equal(t, 100_001, files)

	fastest := time.Hour // of several, because the machine may be busy
	for range 5 {
		other, err := OpenExisting(path)
		require.NoError(t, err)
		began = time.Now()
		found, err := other.OpenTargets(t.Context(), "evt")
		fastest = min(fastest, time.Since(began))
		require.NoError(t, err)
		assert.Equal(t, []string{"compliance-service"}, found)
	}
	assert.Less(t, fastest, listing/10, "a listing takes %s", listing)
}

// A listing that is half done, or was abandoned by its caller, holds up no write and no read.
func TestRecord_DoesNotWaitForAListing(t *testing.T) {
	d, path := openTracker(t)
	createRecordFiles(t, path, 4*listBatch)
	next, stop := iter.Pull2(d.All(t.Context()))
	defer stop()
	for range listBatch {
		_, _, more := next()
		require.True(t, more)
	}
	for i := range 10 {
		require.NoError(t, d.Record(t.Context(), newRecord(fmt.Sprint("new-", i), "run-1")))
	}
	found, err := d.OpenTargets(t.Context(), "new-9")
	require.NoError(t, err)
	assert.Equal(t, []string{"compliance-service"}, found)
	require.NoError(t, d.Resolve(t.Context(), "compliance-service", "new-9", "run-2", noon))
	listed := listBatch
	for _, _, more := next(); more; _, _, more = next() {
		listed++
	}
	assert.GreaterOrEqual(t, listed, 4*listBatch)
}
