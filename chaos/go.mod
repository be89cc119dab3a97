module genesys-fanout/chaos

go 1.26.8

require genesys-fanout v0.0.0

require github.com/google/uuid v1.6.0 // indirect

replace genesys-fanout => ../
