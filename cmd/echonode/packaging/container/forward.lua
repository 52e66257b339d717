-- Forward every ultrasound series that has become stable to EchoNode, which knows its own objects if they come back.
-- Orthanc sends it as a job of its own. (SendToModality takes a single instance, not a series.)
function OnStableSeries(seriesId, tags, metadata)
  if tags['Modality'] == 'US' and tags['Manufacturer'] ~= 'EchoNode' then
    RestApiPost('/modalities/echonode/store', DumpJson({Resources = {seriesId}, Synchronous = false}))
  end
end
