package event

// Message is one Kafka message: the event in it, its bytes, and its place in Kafka.
type Message struct {
	Event  Event  `json:"event,omitzero"`
	Body   Body   `json:"body,omitzero"` // the message, byte for byte as it was received
	Source Source `json:"source,omitzero"`
}

// Source is the place of a message in Kafka.
type Source struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}
