package event

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// explain adds two things to a syntax error: the byte at which the message stops being JSON,
// counted from 1, and the kind of the bytes, if it is known.
func explain(message []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := syntax.Offset
		if bytes.HasPrefix(message, []byte(byteOrderMark)) {
			at += int64(len(byteOrderMark))
		}
		err = fmt.Errorf("byte %d: %w", at, err)
	}
	if kind := kindOf(message); kind != "" {
		err = fmt.Errorf("%w; %s", err, kind)
	}
	return err
}

// kindOf names the kind of bytes that a producer sent instead of JSON, and the producer's
// setting that cures the problem. It is empty if the kind is unknown.
func kindOf(message []byte) string {
	if name := compression(message); name != "" {
		return "the bytes are compressed with " + name + " by the producer's own code: send the JSON itself, and let Kafka compress it " +
			"by the producer's setting compression.type"
	}
	if isUTF16(message) {
		return "the bytes are UTF-16: encode the message as UTF-8; with Kafka's StringSerializer set the producer's value.serializer.encoding=UTF-8"
	}
	if schema, ok := confluentSchema(message); ok {
		return fmt.Sprintf("the bytes begin with 0x00 and the schema id %d, as Confluent's serializers for Avro, Protobuf and JSON Schema write them: "+
			"set the producer's value.serializer to one that writes the JSON alone, such as org.apache.kafka.common.serialization.StringSerializer, "+
			"or Kafka Connect's value.converter to org.apache.kafka.connect.json.JsonConverter", schema)
	}
	if json.Valid(bytes.TrimRight(message, "\x00"+whitespace)) {
		return "the JSON ends in NUL bytes, as a C string does: leave the terminator out of the length that the producer is given"
	}
	if n := documents(message); n > 1 {
		return fmt.Sprintf("the bytes begin with %d JSON documents: send each event as a message of its own, "+
			"and switch off the batching or the newline-delimited format of the producer", n)
	}
	return ""
}

// magics lists the first bytes of compressed data.
var magics = []struct{ bytes, name string }{
	{"\x1f\x8b", "gzip"},                                             // RFC 1952
	{"\x28\xb5\x2f\xfd", "zstd"},                                     // RFC 8878
	{"\x04\x22\x4d\x18", "LZ4"},                                      // LZ4 frame format
	{"\xff\x06\x00\x00sNaPpY", "Snappy"},                             // Snappy framing format
	{"\x82SNAPPY\x00", "Snappy"},                                     // snappy-java's stream
	{"\x78\x01", "zlib"}, {"\x78\x9c", "zlib"}, {"\x78\xda", "zlib"}, // RFC 1950
}

func compression(message []byte) string {
	for _, magic := range magics {
		if bytes.HasPrefix(message, []byte(magic.bytes)) {
			return magic.name
		}
	}
	return ""
}

// isUTF16 reports whether the message begins with a byte order mark of UTF-16, or with two
// ASCII characters in UTF-16.
func isUTF16(message []byte) bool {
	const ascii = 0x80
	switch {
	case len(message) < 4:
		return false
	case message[0] == 0xFF && message[1] == 0xFE, message[0] == 0xFE && message[1] == 0xFF:
		return true
	}
	high, low := message[0]|message[2], message[1]|message[3]
	littleEndian := low == 0 && message[0] != 0 && message[2] != 0 && high < ascii
	bigEndian := high == 0 && message[1] != 0 && message[3] != 0 && low < ascii
	return littleEndian || bigEndian
}

// confluentSchema reads the prefix of Confluent's wire format: a magic byte 0, then the id
// of a schema in four bytes, the most significant byte first.
func confluentSchema(message []byte) (id uint32, ok bool) {
	const prefix = 5
	if len(message) <= prefix || message[0] != 0 {
		return 0, false
	}
	return binary.BigEndian.Uint32(message[1:prefix]), true
}

// documents returns the number of JSON documents with which the message begins.
func documents(message []byte) int {
	decoder := json.NewDecoder(bytes.NewReader(message))
	n := 0
	for {
		var document json.RawMessage
		if decoder.Decode(&document) != nil {
			return n
		}
		n++
	}
}
