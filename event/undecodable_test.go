package event

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDecode_NamesTheProducersSetting checks that the error names the kind of the bytes and
// what to change at the producer.
func TestDecode_NamesTheProducersSetting(t *testing.T) {
	const document = `{"event_id":"a"}`
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte(document))
	require.NoError(t, err)
	require.NoError(t, w.Close())

	for name, test := range map[string]struct {
		message string
		want    []string
	}{
		"Confluent JSON Schema": {"\x00\x00\x01\x86\xa2" + document, []string{"schema id 100002", "Confluent", "value.serializer", "value.converter"}},
		"Confluent Avro":        {"\x00\x00\x00\x00\x01\x02a", []string{"schema id 1,", "Confluent", "value.serializer"}},
		"gzip":                  {zipped.String(), []string{"gzip", "compression.type"}},
		"zstd":                  {"\x28\xb5\x2f\xfd\x04", []string{"zstd", "compression.type"}},
		"lines":                 {document + "\n" + document + "\n" + document, []string{"3 JSON documents", "a message of its own"}},
		"documents":             {document + document, []string{"2 JSON documents"}},
		"a broken third":        {document + document + "{", []string{"begin with 2 JSON documents"}},
		"a NUL at the end":      {document + "\x00", []string{"NUL", "length"}},
		"NULs at the end":       {document + "\n\x00\x00", []string{"NUL"}},
		"UTF-16":                {utf16of(document, true), []string{"UTF-16", "value.serializer.encoding=UTF-8"}},
		"UTF-16 big-endian":     {utf16of(document, false), []string{"UTF-16"}},
		"UTF-16 with a mark":    {"\xff\xfe" + utf16of(document, true), []string{"UTF-16"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(test.message))
			require.ErrorIs(t, err, ErrUndecodable)
			for _, part := range test.want {
				assert.ErrorContains(t, err, part)
			}
			assert.ErrorContains(t, err, "byte ", "and the byte at which it stops being JSON")
			assert.Less(t, len(err.Error()), 600)
		})
	}
	for _, unknown := range []string{"{", document + "x", "hello", "\x00", "\x00\x00\x00\x00\x01", "x\x9c"[:1]} {
		_, err := Decode([]byte(unknown))
		require.ErrorIs(t, err, ErrUndecodable)
		assert.NotContains(t, err.Error(), "the producer", "%q is of no known kind", unknown)
	}
}

func utf16of(s string, littleEndian bool) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		high, low := byte(unit>>8), byte(unit)
		if littleEndian {
			b.Write([]byte{low, high})
		} else {
			b.Write([]byte{high, low})
		}
	}
	return b.String()
}
