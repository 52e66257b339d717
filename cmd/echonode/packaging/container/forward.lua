-- Forward every ultrasound series that has become stable to EchoNode, which knows its own objects if they come back.
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'US' and tags['Manufacturer'] ~= 'EchoNode' then
    SendToModality(seriesId, 'echonode')
  end
end
