"""Market streams: an exchange's messages in, bars and the channels of a forecast out."""
